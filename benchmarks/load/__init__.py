"""Load generators: an open loop for latency, a closed loop for capacity, and what a server used."""
