-- Is nothing left?
SELECT depth = 0 FROM message_bus.endpoints WHERE name = 'bench';
