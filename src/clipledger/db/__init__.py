"""The index, the queue and the books, in SQL. The bucket is the truth; this is what makes it findable."""
