"""Teams as an application embeds them; `import avengers_edge` names all of it, and loads it when it is used."""
