"""How pages, charts and sheets look: one style sheet, the pieces of a page, and charts in its colours."""
