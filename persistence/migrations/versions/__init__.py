"""One module per step of the schema. A step that has been released is never edited: add another."""
