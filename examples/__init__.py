"""Networks and scripts that show jettison; a package, since another distribution installs `examples` too."""
