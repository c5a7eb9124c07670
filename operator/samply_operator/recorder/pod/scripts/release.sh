# Ends an ephemeral container whose work is done.
: >/tmp/released
