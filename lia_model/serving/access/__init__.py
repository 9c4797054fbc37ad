"""Who may do what: the service's tokens, their scopes and their owners."""
