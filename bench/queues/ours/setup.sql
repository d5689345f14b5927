-- An empty queue.
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('bench', 8);
