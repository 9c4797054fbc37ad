"""Loss terms of training, one file per term, registered in that file (see `terms`)."""
