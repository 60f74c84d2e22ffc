"""The API for programs, `/api/v1`, one file a subject. Must not: hold logic of its own."""
