-- Is nothing left?
SELECT depth + scheduled = 0 FROM message_bus.endpoints WHERE name = 'bench';
