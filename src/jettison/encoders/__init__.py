"""Ways from a raw example to arrays. Each file is one plug-in of `jettison.encoders`."""
