"""The command line: options become flags, events become bars, previews and lines of JSON. Never imports torch."""
