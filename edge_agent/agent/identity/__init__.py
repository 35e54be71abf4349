"""The gateway's certificate: made once with a person's help, renewed by itself."""
