"""Labels to ids and back: characters, and the tokens of LaTeX."""
