"""Works out who hears about an event, writes every decision down, and hands the work to the channels."""
