"""What needs several rooms at once. Nothing here holds a mechanism of its own."""
