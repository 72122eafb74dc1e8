"""The recipes as a package, so that they are installed with the code (`tumorgen.method.load_recipe`)."""
