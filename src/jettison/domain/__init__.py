"""The words of jettison as types: frozen, slotted, with a JSON round trip and a digest."""
