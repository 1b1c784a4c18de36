"""The words of Carillon as types: channels, lanes, states, reasons, outcomes. Pure: no input or output."""
