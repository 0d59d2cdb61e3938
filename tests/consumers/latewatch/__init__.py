"""A consumer that no producer knows of: it begins with what is told from now on."""
