"""Stores on SSH servers, by SFTP: ``sftp://[USER@]HOST[:PORT]/PATH``."""
