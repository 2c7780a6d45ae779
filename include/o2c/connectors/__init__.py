"""One module per protocol. A connector turns a flow's source into landing parts and knows no warehouse."""
