"""`recog report`: an HTML page about a run."""
