"""Each module answers one question: README.md here holds the current answers."""
