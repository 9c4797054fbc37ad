"""Between the network and the application: the server, and who may send what, how much and how fast."""
