"""What every floor stands on: events, options, seeds, errors, tables of names. No torch here."""
