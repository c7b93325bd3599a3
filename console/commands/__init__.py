"""Commands by what they are about; `console.cli` puts them together."""
