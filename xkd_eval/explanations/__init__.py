"""Maps of photographs: as arrays (`explain`) and as figures (`overlay`)."""
