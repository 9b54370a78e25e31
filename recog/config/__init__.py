"""The recipe: its fields, their bounds, and how it is loaded.

An experiment file needs no more than what stands here.
"""




