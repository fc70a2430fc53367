"""What can be measured on a film from its pictures alone, a file for each kind."""
