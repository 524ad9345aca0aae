"""The vocabulary: frozen values, wishes (commands), facts (events) and questions (queries).

Start with `protocols.py`: it shows who hears what and who says what.
"""
