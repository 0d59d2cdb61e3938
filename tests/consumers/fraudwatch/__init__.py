"""A consumer that no producer knows of: it begins with the first event."""
