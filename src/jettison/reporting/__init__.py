"""What a person reads: report, model card, tables in the terminal."""
