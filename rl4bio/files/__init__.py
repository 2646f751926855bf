"""What a user gives: text files, tables with their lines, cells, folders, the Hub."""
