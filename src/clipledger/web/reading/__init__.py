"""What screens and the API show, one file a subject, as plain values. Must not: hold SQL or draw anything."""
