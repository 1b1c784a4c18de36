"""From events to delivery rows to work messages. The rules are SQL functions, shared with the workers."""
