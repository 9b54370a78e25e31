"""`recog bench`: what recipes, sets and compiled programs cost on this machine."""
