"""The commands: arguments in, one call, words out; a file each."""
