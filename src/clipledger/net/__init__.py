"""Everything that leaves the machine, except stores. `wire`, `tiklive` and `cdn` are strangers to each other."""
