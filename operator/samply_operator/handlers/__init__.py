"""The kopf shell: startup, one file per kind. Handlers unpack, parse and hand over; they decide nothing."""
