-- What operators decide about whole channels.
SELECT;
