"""Loss terms of training, one file a term, registered in that file (see `terms`)."""
