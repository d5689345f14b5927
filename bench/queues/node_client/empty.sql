-- Is nothing left?
SELECT depth = 0 AND in_flight = 0 FROM message_bus.endpoints WHERE name = 'bench';
