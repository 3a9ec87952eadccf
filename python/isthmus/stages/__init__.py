"""The corridor, one stage a file, one function of the file's name. No stage imports another."""
