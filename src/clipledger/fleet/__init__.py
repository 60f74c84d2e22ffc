"""Many processes as one: seats that each hold one `clipledger` process, and who fills and empties them.

`supervisor` decides from the database alone; `seats` are on this machine, `ray_seats` wherever Ray has
room. Only `ray_seats` knows Ray. Nothing here does a worker's work: a seat runs the ordinary program.
"""
