"""Numbers of answers and of molecules, with their intervals; numpy alone."""
