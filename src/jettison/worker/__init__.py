"""The process that holds a native model, so that the parent never does.

`python -m jettison.worker load|apply|profile JOB ANSWER` does one job; `... session JOB` serves a
prepared model over pipes. Start it through `jettison.worker_client`: it ends when its standard
input closes, so that no worker outlives its parent.
"""
