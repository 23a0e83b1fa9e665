"""Parse the command line, load the files, hand over to one program."""
