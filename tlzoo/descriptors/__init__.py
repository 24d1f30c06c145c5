"""Numbers that describe a crystal without a network: from its composition and from its structure."""
