"""What is committed, and when: the only actor that hands anything to the database."""
